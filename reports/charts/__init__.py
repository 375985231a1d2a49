"""Charts as vector drawings in the page itself: seen without a script, printed as they are, a few kilobytes each."""
