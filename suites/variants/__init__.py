"""Valid meshes that the suite did not install so: every variant is made live, must stay green, and is undone."""
