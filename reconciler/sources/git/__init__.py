"""A git repository as a source, by the `git` program: no checkout, no hooks, nobody's configuration but ours."""
