"""From a reconstructed frame to molecules off the grid."""
