"""The pay: how a question's answer is scored, which parts a reward has, and what they weigh. No torch, no ray."""
