"""What passes between processes and machines: traces, shared weights, their layouts."""
