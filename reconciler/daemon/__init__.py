"""The process that stays: settings, log, signals, the one lock, the threads in which the runtime is called."""
