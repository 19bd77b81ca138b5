"""The payment switch: routes card authorizations to processors and loses none."""
