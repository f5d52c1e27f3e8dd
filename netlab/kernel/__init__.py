"""Talk to Linux: sandbox, netlink, snapshots, packets. Nothing here knows of Kubernetes or of notebooks."""
