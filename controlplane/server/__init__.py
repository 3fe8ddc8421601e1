"""The API servers: REST for kubectl and everybody else, gRPC for programs and nodes."""
