"""Ingresses on this node: what they ask for, as values, as a configuration of HAProxy, and as a running one."""
