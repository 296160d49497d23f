"""CT projection: geometries, matched projectors, fast back projection."""
