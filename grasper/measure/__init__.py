"""Numbers that need the model that wrote: taken with a run's own system, kept in its folder `measure/`, read by `evaluate`. Above the stages."""
