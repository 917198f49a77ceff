/* The worst contrast of visible text, by element and class; colours are read as the browser paints them. */
() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = rgba(getComputedStyle(each).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const under = (text) => {
    const box = text.getBBox();
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    const rects = [...text.ownerSVGElement.querySelectorAll("rect")].filter((rect) => {
      const r = rect.getBBox();
      return r.x <= x && x <= r.x + r.width && r.y <= y && y <= r.y + r.height;
    });
    return rects.length ? rgba(getComputedStyle(rects.at(-1)).fill) : ground(text.ownerSVGElement);
  };
  const worst = {};
  const note = (name, value) => { if (!(name in worst) || value < worst[name]) worst[name] = value; };
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const name = (element) => element.tagName.toLowerCase() + "." + (element.getAttribute("class") || "");
  for (const element of document.querySelectorAll("main *, header *, footer *")) {
    if (!own(element) || !element.checkVisibility()) continue;
    const svg = element instanceof SVGElement;
    if (svg && element.tagName !== "text") continue;
    const style = getComputedStyle(element);
    note(name(element), svg ? ratio(rgba(style.fill), under(element)) : ratio(rgba(style.color), ground(element)));
  }
  return worst;
}
