"""CT between the projector and the image: corrections, filtered back projection, noise, units."""
