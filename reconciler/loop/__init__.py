"""The loop: whatever happens marks names, and what is marked is looked at again and brought in line.

Level-triggered. An event never carries content: a process that ended, a link that vanished, a rule somebody deleted and
a timer all say only "look at this". So one that is lost costs time and nothing else, and a resync finds it.
"""
