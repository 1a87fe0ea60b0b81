-- A database as version 0.1.0 left it. @...@ is what differs between the databases.
CREATE TABLE jobs (
  job_id VARCHAR(192) NOT NULL,
  payload_hash VARCHAR(64) NOT NULL,
  opened @MOMENT@ NOT NULL,
  state VARCHAR(32),
  result TEXT,
  CONSTRAINT pk_jobs PRIMARY KEY (job_id)
);
CREATE TABLE runs (
  run_id VARCHAR(128) NOT NULL,
  job_id VARCHAR(192) NOT NULL,
  settled BOOLEAN NOT NULL,
  CONSTRAINT pk_runs PRIMARY KEY (run_id),
  CONSTRAINT fk_runs_job_id FOREIGN KEY(job_id) REFERENCES jobs (job_id)
);
CREATE INDEX ix_runs_job_id ON runs (job_id);
CREATE TABLE charges (
  provider VARCHAR(64) NOT NULL,
  provider_job_id VARCHAR(128) NOT NULL,
  job_id VARCHAR(192) NOT NULL,
  run_id VARCHAR(128) NOT NULL,
  position INTEGER NOT NULL,
  backend VARCHAR(128) NOT NULL,
  state VARCHAR(32) NOT NULL,
  role VARCHAR(16) NOT NULL,
  quantum_seconds FLOAT NOT NULL,
  money @MONEY@ NOT NULL,
  currency VARCHAR(3) NOT NULL,
  classical_seconds FLOAT NOT NULL,
  settled BOOLEAN NOT NULL,
  CONSTRAINT pk_charges PRIMARY KEY (provider, provider_job_id),
  CONSTRAINT fk_charges_job_id FOREIGN KEY(job_id) REFERENCES jobs (job_id),
  CONSTRAINT fk_charges_run_id FOREIGN KEY(run_id) REFERENCES runs (run_id)
);
CREATE INDEX ix_charges_job_id ON charges (job_id);
CREATE INDEX ix_charges_run_id ON charges (run_id);
CREATE TABLE late_results (
  run_id VARCHAR(128) NOT NULL,
  job_id VARCHAR(192) NOT NULL,
  late TEXT NOT NULL,
  CONSTRAINT pk_late_results PRIMARY KEY (run_id),
  CONSTRAINT fk_late_results_run_id FOREIGN KEY(run_id) REFERENCES runs (run_id),
  CONSTRAINT fk_late_results_job_id FOREIGN KEY(job_id) REFERENCES jobs (job_id)
);
CREATE INDEX ix_late_results_job_id ON late_results (job_id);
INSERT INTO jobs VALUES ('acme/old', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  '2025-10-05 12:00:00.000000@UTC@', 'degraded', '{"schema_version":"1","job_id":"acme/old","tenant":"acme","key":"old","payload_hash":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","state":"degraded","answer":{"kind":"optimise","solution":{"a":1},"explanation":"x","quality":{"feasible":true,"objective":4.0,"sense":"maximise","raw_best":null,"raw_mean":null,"feasible_share":null,"baseline":null,"bound":null,"confidence":"feasible","histogram":null}},"unanswered":null,"provenance":{"source":"annealing","provider":"neal","backend":null,"run_id":null,"provider_job_ids":[],"shots":null,"circuit":{"backend":"ibm_torino","calibration_id":null,"qubits":5,"depth":3,"two_qubit_gates":2,"layout":[0,1,2,3,4],"seed_transpiler":7,"optimization_level":2,"sha256":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"},"seed":7,"detail":{},"software":{"dimod":"0.12"},"artefacts":{"model":{"sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","size":10,"media":"application/json"}}},"decision":{"policy_version":"1","rule":"small","reason":"fits","wanted":"hardware","ladder":["hardware","annealing"],"refused":[],"backend":null,"forecast":null,"facts":{"verb":"optimise","variables":5,"qubits":5,"shots":100,"backends":[],"provider_trouble":"","queue_budget":60.0,"quantum_seconds":5.0,"money":null,"currency":"USD","forced_route":null,"backend":null},"detail":{}},"attempts":[{"rung":"hardware","outcome":"timed_out","reason":"queue","layer":"queue","run_id":"run1","objective":null},{"rung":"annealing","outcome":"answered","reason":"","layer":null,"run_id":null,"objective":4.0}],"compensations":[],"transitions":[{"state":"received","at":"2025-10-05T12:00:00Z"},{"state":"degraded","at":"2025-10-05T12:01:30.500000Z"}],"timings":[{"layer":"queue","seconds":60.0,"rung":"hardware"}],"cost":{"quantum_seconds":1.0,"money":"1.60","currency":"USD","classical_seconds":0.0,"settled":false}}');
INSERT INTO jobs VALUES ('acme/failed', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',
  '2025-10-06 12:00:00.000000@UTC@', 'failed', '{"schema_version":"1","job_id":"acme/failed","tenant":"acme","key":"failed","payload_hash":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","state":"failed","answer":null,"unanswered":{"reason":"no rung answered","layer":"deadline"},"provenance":null,"decision":null,"attempts":[],"compensations":[],"transitions":[],"timings":[],"cost":{"quantum_seconds":0.0,"money":"0.10","currency":"EUR","classical_seconds":0.0,"settled":true}}');
INSERT INTO jobs VALUES ('acme/open', 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',
  '2025-10-07 12:00:00.000000@UTC@', NULL, NULL);
INSERT INTO runs VALUES ('run1', 'acme/old', TRUE);
INSERT INTO runs VALUES ('run2', 'acme/open', FALSE);
INSERT INTO charges VALUES ('ibm', 'd0', 'acme/old', 'run1', 0, 'ibm_torino', 'completed', 'run', 2.0, '3.200000000000000000001', 'USD', 0.0, TRUE);
INSERT INTO charges VALUES ('ibm', 'd1', 'acme/old', 'run1', 1, 'ibm_torino', 'cancelled', 'extra', 0.5, '0.8', 'USD', 0.0, TRUE);
INSERT INTO late_results VALUES ('run1', 'acme/old', '{"run_id":"run1","result":{"sha256":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","size":3,"media":"text/plain"},"objective":5.0,"served_objective":4.0,"difference":1.0,"comparison":"better"}');
