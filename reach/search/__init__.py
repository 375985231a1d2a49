"""Which tokens can the whole model be made to say? A search over its inputs, and how strong that search is."""
