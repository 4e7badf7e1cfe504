"""How a frame comes about: grids, camera, point spread function, background, simulation."""
