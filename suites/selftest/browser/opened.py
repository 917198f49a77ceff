"""A page that is open in a browser."""

from playwright.sync_api import Page


class Opened:
    """A page in the browser, with everything it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def style(self, selector: str, name: str) -> list[str]:
        """A property, as computed, of everything that a selector finds."""
        script = f"found => found.map(each => getComputedStyle(each).getPropertyValue('{name}'))"
        return list(self.page.eval_on_selector_all(selector, script))

    def colour(self, variable: str) -> str:
        """A colour of the page's palette, as the browser says it."""
        script = """name => { const probe = document.body.appendChild(document.createElement("i"));
          probe.style.color = `var(${name})`;
          const said = getComputedStyle(probe).color;
          probe.remove();
          return said; }"""
        return str(self.page.evaluate(script, variable))
