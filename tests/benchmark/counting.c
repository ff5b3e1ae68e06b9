/*
 * Copyright (c) 2026 The luksmith developers
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Preloaded into a process and its children: notes each key derivation with its cost, one line each, in the file that
 * LUKSMITH_COUNT_FILE names, and lets the real function do it. Covers what cryptsetup (OpenSSL, libargon2), QEMU
 * (nettle) and Python's hashlib (OpenSSL) call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char *format, ...)
{
	const char *path = getenv("LUKSMITH_COUNT_FILE");
	char line[128];
	va_list arguments;
	int size, file;

	if (!path)
		return;
	va_start(arguments, format);
	size = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (file >= 0) {
		if (write(file, line, size) != size)
			abort();
		close(file);
	}
}

/* Python opens libcrypto for itself alone, where RTLD_NEXT does not look. */
static void *find(const char *name, const char *library)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (!function)
		function = dlsym(dlopen(library, RTLD_LAZY | RTLD_LOCAL), name);
	if (!function)
		abort();
	return function;
}

/* PKCS5_PBKDF2_HMAC calls EVP_KDF_derive, and would be seen twice. */
static __thread int inside;

/* OSSL_PARAM of OpenSSL 3: key, type, data, size, returned size. */
struct parameter {
	const char *key;
	unsigned int type;
	void *data;
	size_t size, returned;
};

int EVP_KDF_derive(void *context, unsigned char *key, size_t size, const struct parameter *parameters)
{
	static int (*real)(void *, unsigned char *, size_t, const struct parameter *);
	const struct parameter *each;
	uint64_t iterations = 0;

	if (!real)
		real = find("EVP_KDF_derive", "libcrypto.so.3");
	for (each = parameters; each && each->key; each++)
		if (!strcmp(each->key, "iter") && each->size <= sizeof(iterations))
			memcpy(&iterations, each->data, each->size);
	if (!inside)
		note("pbkdf2 %llu\n", (unsigned long long)iterations);
	return real(context, key, size, parameters);
}

int PKCS5_PBKDF2_HMAC(const char *secret, int length, const unsigned char *salt, int salt_length, int iterations,
		      const void *digest, int size, unsigned char *key)
{
	static int (*real)(const char *, int, const unsigned char *, int, int, const void *, int, unsigned char *);
	int done;

	if (!real)
		real = find("PKCS5_PBKDF2_HMAC", "libcrypto.so.3");
	note("pbkdf2 %d\n", iterations);
	inside = 1;
	done = real(secret, length, salt, salt_length, iterations, digest, size, key);
	inside = 0;
	return done;
}

void nettle_pbkdf2(void *context, void *update, void *digest, size_t digest_size, unsigned iterations,
		   size_t salt_length, const uint8_t *salt, size_t length, uint8_t *key)
{
	static void (*real)(void *, void *, void *, size_t, unsigned, size_t, const uint8_t *, size_t, uint8_t *);

	if (!real)
		real = find("nettle_pbkdf2", "libnettle.so.8");
	note("pbkdf2 %u\n", iterations);
	real(context, update, digest, digest_size, iterations, salt_length, salt, length, key);
}

/* The beginning of argon2_context of libargon2. */
struct argon2 {
	uint8_t *out;
	uint32_t outlen;
	uint8_t *pwd;
	uint32_t pwdlen;
	uint8_t *salt;
	uint32_t saltlen;
	uint8_t *secret;
	uint32_t secretlen;
	uint8_t *ad;
	uint32_t adlen;
	uint32_t passes, memory;
};

int argon2_ctx(struct argon2 *context, int type)
{
	static int (*real)(struct argon2 *, int);

	if (!real)
		real = find("argon2_ctx", "libargon2.so.1");
	note("argon2 %u %u\n", context->passes, context->memory);
	return real(context, type);
}
