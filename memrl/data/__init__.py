"""Built sets: folders of streams to train on or to be measured on, each with a card that says where it is from."""
