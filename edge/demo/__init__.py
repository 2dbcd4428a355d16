"""Input of our own for trying the system: a made-up country with a fleet in it, and a watch-tower's view.

    roads.py    the road net around Halla, a forest town that does not exist, and its fences
    fleet.py    twelve vehicles on those roads: noise, gaps, late fixes, one trespasser, one speeder
    scene.py    a rendered valley in which smoke rises and grows
    plume.py    the smoke and the glow at its foot

Everything follows from a seed; nothing is recorded from real people or places.
"""
