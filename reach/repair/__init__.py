"""The smallest change of a head that makes tokens speakable, or that keeps them from ever winning."""
