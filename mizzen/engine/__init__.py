"""The machinery under every decider and driver: values, views, cache, overlay, queue, back-off. All of it is pure."""
