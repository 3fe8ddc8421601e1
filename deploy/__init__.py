"""What puts Mizzen on machines: the one-command cluster, the lab of many machines on one box, images and units.

Nothing in here is needed by a running daemon. It may import `mizzen`, never `controlplane` or `nodeagent`: those are
started as commands, exactly as an operator starts them.
"""
