"""The Dockerfile language, as BuildKit's frontend reads it. Pure: text in, frozen values out, no effects.

    parse            text -> Dockerfile: directives, global arguments, stages of typed instructions, each with its place
    evaluate         what each variable is worth at each instruction, and the instruction with it in place
    stages           which stage needs which stage, image or named context; what a target leaves out
    checks           what is allowed and yet probably wrong: BuildKit's rules by their names
    ignore           `.dockerignore`: which paths of a context are left out, which directories need not be entered

Called by the builder and by the command line. Reads no file, asks no registry, runs nothing. Whatever is wrong is told
as `schemas.errors.Invalid`, every problem with file, line, column, the line itself and a remedy.

Source: Dockerfile reference (docs.docker.com/reference/dockerfile), section of the same name as the instruction.
"""
