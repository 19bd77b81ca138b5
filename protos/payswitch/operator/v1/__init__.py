"""Generated code of the protobuf package payswitch.operator.v1."""
