"""Generated code of the protobuf package payswitch.money.v1."""
