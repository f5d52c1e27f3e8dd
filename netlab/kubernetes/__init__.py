"""Kubernetes on top of hosts: nodes, pods, services, and the parts that wire them."""
