"""Follow one real packet through a lab: what it met on its way, as evidence from the kernel."""
