"""Building images: from a Dockerfile, and from what a container has changed.

configure        what an instruction says of an image's processes, in the image's config
container        a container as the maker of an image sees it
graph            a Dockerfile, its inputs and its images' configs -> the steps of a build, pure
steps            what a step is, and the key of its outcome
transfer, execute, describe     what COPY and ADD do, what RUN does, what the history says
select           which files of a tree a step takes, and the digest of just those
keys             the keys of all steps before anything is done; what need not be done; what can begin
"""
