"""Section 3.2 of the paper: fluctuating emitters, and a PSF that is learned."""
