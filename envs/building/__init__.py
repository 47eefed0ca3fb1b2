"""The stages that sources share on the way from raw files to streams, written once: reading, cutting, packing,
labelling."""
