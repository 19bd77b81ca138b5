"""Generated code of the protobuf package payswitch.money."""
