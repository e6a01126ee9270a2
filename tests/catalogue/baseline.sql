BEGIN TRANSACTION;
CREATE TABLE failures (
	image_id VARCHAR(36) NOT NULL, 
	store_id VARCHAR(255) NOT NULL, 
	error VARCHAR(255) NOT NULL, 
	message TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_failures PRIMARY KEY (image_id, store_id), 
	CONSTRAINT fk_failures_image_id FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE
);
INSERT INTO "failures" VALUES('22222222-2222-4222-8222-222222222222','b','StoreFull','no space left','2026-11-22 17:36:49.530028');
CREATE TABLE fingerprints (
	image_id VARCHAR(36) NOT NULL, 
	slot_size BIGINT NOT NULL, 
	digests BLOB NOT NULL, 
	CONSTRAINT pk_fingerprints PRIMARY KEY (image_id), 
	CONSTRAINT fk_fingerprints_image_id FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE
);
INSERT INTO "fingerprints" VALUES('22222222-2222-4222-8222-222222222222',4194304,X'66666666666666666666666666666666');
CREATE TABLE image_locations (
	id INTEGER NOT NULL, 
	image_id VARCHAR(36) NOT NULL, 
	store_id VARCHAR(255) NOT NULL, 
	url TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	CONSTRAINT pk_image_locations PRIMARY KEY (id), 
	CONSTRAINT fk_image_locations_image_id FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE
);
INSERT INTO "image_locations" VALUES(1,'22222222-2222-4222-8222-222222222222','a','file:///srv/a/x','{"mount": "ä"}');
CREATE TABLE image_properties (
	id INTEGER NOT NULL, 
	image_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_image_properties PRIMARY KEY (id), 
	CONSTRAINT uq_image_properties_image_id_name UNIQUE (image_id, name), 
	CONSTRAINT fk_image_properties_image_id FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE
);
INSERT INTO "image_properties" VALUES(1,'22222222-2222-4222-8222-222222222222','os_distro','ubuntu');
INSERT INTO "image_properties" VALUES(3,'22222222-2222-4222-8222-222222222222','os_glance_importing_to_stores','');
INSERT INTO "image_properties" VALUES(4,'22222222-2222-4222-8222-222222222222','os_glance_failed_import','b');
INSERT INTO "image_properties" VALUES(5,'11111111-1111-4111-8111-111111111111','os_glance_import_task','bd9a0c69-edfd-4626-a8c7-595ac975d5ca');
INSERT INTO "image_properties" VALUES(6,'11111111-1111-4111-8111-111111111111','os_glance_importing_to_stores','a');
INSERT INTO "image_properties" VALUES(7,'11111111-1111-4111-8111-111111111111','os_glance_failed_import','');
CREATE TABLE images (
	id VARCHAR(36) NOT NULL, 
	status VARCHAR(30) NOT NULL, 
	name VARCHAR(255), 
	disk_format VARCHAR(20), 
	container_format VARCHAR(20), 
	size BIGINT, 
	virtual_size BIGINT, 
	checksum VARCHAR(32), 
	os_hash_algo VARCHAR(64), 
	os_hash_value VARCHAR(128), 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_images PRIMARY KEY (id), 
	CONSTRAINT ck_images_active_has_size CHECK (status <> 'active' OR (size IS NOT NULL AND size > 0))
);
INSERT INTO "images" VALUES('22222222-2222-4222-8222-222222222222','active','jammy ä','raw','bare',5,NULL,'cccccccccccccccccccccccccccccccc','sha512','abababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababab','2026-11-22 17:36:49.498491','2026-11-22 17:36:49.543589');
INSERT INTO "images" VALUES('11111111-1111-4111-8111-111111111111','importing',NULL,'raw','bare',NULL,NULL,NULL,NULL,NULL,'2026-11-22 17:36:49.553188','2026-11-22 17:36:49.566734');
CREATE TABLE journal (
	id INTEGER NOT NULL, 
	task_id VARCHAR(36) NOT NULL, 
	store_id VARCHAR(255) NOT NULL, 
	event VARCHAR(20) NOT NULL, 
	trace TEXT, 
	url TEXT, 
	metadata TEXT, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_journal PRIMARY KEY (id), 
	CONSTRAINT fk_journal_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
INSERT INTO "journal" VALUES(1,'bd9a0c69-edfd-4626-a8c7-595ac975d5ca','a','opened','/srv/a/.temporary',NULL,NULL,'2026-11-22 17:36:49.574121');
CREATE TABLE leftovers (
	id INTEGER NOT NULL, 
	image_id VARCHAR(36) NOT NULL, 
	store_id VARCHAR(255) NOT NULL, 
	trace TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_leftovers PRIMARY KEY (id)
);
INSERT INTO "leftovers" VALUES(1,'22222222-2222-4222-8222-222222222222','b','/srv/b/left','busy','2026-11-22 17:36:49.578017');
CREATE TABLE operations (
	task_id VARCHAR(36) NOT NULL, 
	stores TEXT NOT NULL, 
	importing BOOLEAN NOT NULL, 
	earlier_status VARCHAR(30) NOT NULL, 
	earlier_size BIGINT, 
	earlier_virtual_size BIGINT, 
	earlier_checksum VARCHAR(32), 
	earlier_os_hash_algo VARCHAR(64), 
	earlier_os_hash_value VARCHAR(128), 
	earlier_fingerprints BOOLEAN NOT NULL, 
	verified_size BIGINT, 
	verified_virtual_size BIGINT, 
	verified_checksum VARCHAR(32), 
	verified_os_hash_algo VARCHAR(64), 
	verified_os_hash_value VARCHAR(128), 
	slot_size BIGINT, 
	digests BLOB, 
	CONSTRAINT pk_operations PRIMARY KEY (task_id), 
	CONSTRAINT fk_operations_task_id FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
INSERT INTO "operations" VALUES('bd9a0c69-edfd-4626-a8c7-595ac975d5ca','a',1,'queued',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE tasks (
	id VARCHAR(36) NOT NULL, 
	image_id VARCHAR(36) NOT NULL, 
	operation VARCHAR(20) NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	machine_id VARCHAR(64) NOT NULL, 
	boot_id VARCHAR(64) NOT NULL, 
	pid_namespace VARCHAR(64) NOT NULL, 
	pid BIGINT NOT NULL, 
	process_started BIGINT NOT NULL, 
	started_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	message VARCHAR(1000) NOT NULL, 
	CONSTRAINT pk_tasks PRIMARY KEY (id), 
	CONSTRAINT fk_tasks_image_id FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE
);
INSERT INTO "tasks" VALUES('bd9a0c69-edfd-4626-a8c7-595ac975d5ca','11111111-1111-4111-8111-111111111111','import','old-host','m','b','pid:[1]',4242,7,'2026-11-22 17:36:49.554782','2026-11-22 17:36:49.554782','');
CREATE INDEX ix_images_created_at ON images (created_at);
CREATE INDEX ix_image_locations_image_id ON image_locations (image_id);
CREATE INDEX ix_tasks_image_id ON tasks (image_id);
CREATE INDEX ix_journal_task_id ON journal (task_id);
COMMIT;
