"""Building images: from a Dockerfile, and from what a container has changed.

configure        what an instruction says of an image's processes, in the image's config
container        a container as the maker of an image sees it
graph            a Dockerfile, its inputs and its images' configs -> the steps of a build, pure
steps            what a step is, and the key of its outcome
transfer, execute, describe     what COPY and ADD do, what RUN does, what the history says
select           which files of a tree a step takes, and the digest of just those
keys             the keys of all steps before anything is done; what need not be done; what can begin

Those above are pure. These act:

build            a build from beginning to end, and what one would be made of
wanted           what is asked of a build, and what it tells
contexts, scan   directories as listings, their files' digests remembered; elsewhere: tars, URLs, repositories
bases            the images to begin with
solve            the steps that need doing, done; place: where what goes wrong stands in the Dockerfile
cache            what steps came to, kept on disk and bounded
layer, modes     COPY, ADD, WORKDIR as a tar; archives, fetch: what ADD unpacks and what it fetches
execution        RUN; run: its container; run_mounts: its mounts; wire: its network; trees: what it stands on
"""
