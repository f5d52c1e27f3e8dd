"""What `netlab bench` measures, one module a subject."""
