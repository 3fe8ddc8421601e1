"""The agent at work: asyncio around the pure life cycle, the runtime, the network and the control plane."""
