"""What tests share: real daemons, real stores, and waiting for conditions."""
