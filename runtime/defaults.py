"""Where an engine is unless somebody says otherwise; apart from `layout`, whose paths cost a command line too much."""

ROOT = "/var/lib/trimtab"
RUN = "/run/trimtab"
