"""The thin shells that join pixels and video: command line and jobs."""
