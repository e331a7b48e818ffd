"""What a run found, for people and for programs: terminal, Markdown, JSON, a chart."""
