"""Other engines, each started for the run alone, with directories, sockets and cgroups of its own, ended by pid."""
