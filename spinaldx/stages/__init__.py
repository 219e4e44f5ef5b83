"""The stages of the cascade; numpy in, records out, none knows another."""
