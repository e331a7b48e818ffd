"""The command line's half of a daemon: find it, send it a command with the texts it is about, print what it answers.

Imports next to nothing: this is the path on which a command must cost little more than the interpreter.
"""
