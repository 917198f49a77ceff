"""The acts of the faults that are made on live meshes, a module an area, as the declarations are."""
