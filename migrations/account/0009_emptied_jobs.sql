-- Rows that were emptied as the newest job's, and are no longer: they go with the next sweep, like any job past its time.
UPDATE jobs
SET expires_at = finished_at
WHERE finished_at IS NOT NULL AND expires_at IS NULL AND job < (SELECT max(job) FROM jobs);
