"""The wire: the only room that says grpc."""
