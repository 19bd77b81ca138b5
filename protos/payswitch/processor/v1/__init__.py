"""Generated code of the protobuf package payswitch.processor.v1."""
