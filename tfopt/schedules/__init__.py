"""`LearningRateSchedule` subclasses."""
