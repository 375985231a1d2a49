"""The release gate: can every token come out that must, and none that must not?"""
