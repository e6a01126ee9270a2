# What is found at run time, in libraries that the interpreter has loaded already: OpenSSL's digests and XXH3.

cdef void *_symbol(module, const char *name) except? NULL:
    """A C symbol of an extension module or of the libraries it is linked with; NULL if there is none."""
    path = getattr(module, "__file__", None)
    cdef bytes encoded
    cdef void *handle
    if path is None:  # linked into the interpreter itself
        handle = dlopen(NULL, RTLD_NOW | RTLD_LOCAL)
    else:
        encoded = os.fsencode(path)
        handle = dlopen(PyBytes_AsString(encoded), RTLD_NOW | RTLD_LOCAL)
    # The handle is never closed: the functions are used for the life of the process.
    return dlsym(handle, name) if handle != NULL else NULL


cdef gs_md_ctx_new md_ctx_new = <gs_md_ctx_new>_symbol(_hashlib, b"EVP_MD_CTX_new")
cdef gs_md_ctx_free md_ctx_free = <gs_md_ctx_free>_symbol(_hashlib, b"EVP_MD_CTX_free")
cdef gs_md_fetch md_fetch = <gs_md_fetch>_symbol(_hashlib, b"EVP_MD_fetch")  # OpenSSL 3; absent in 1.1
cdef gs_md_free md_free = <gs_md_free>_symbol(_hashlib, b"EVP_MD_free")
cdef gs_md_byname md_byname = <gs_md_byname>_symbol(_hashlib, b"EVP_get_digestbyname")
cdef gs_digest_init digest_init = <gs_digest_init>_symbol(_hashlib, b"EVP_DigestInit_ex")
cdef gs_digest_update digest_update = <gs_digest_update>_symbol(_hashlib, b"EVP_DigestUpdate")
cdef gs_digest_final digest_final = <gs_digest_final>_symbol(_hashlib, b"EVP_DigestFinal_ex")
cdef bint have_evp = (
    md_ctx_new != NULL and md_ctx_free != NULL and md_byname != NULL
    and digest_init != NULL and digest_update != NULL and digest_final != NULL
)
cdef gs_xxh128_fn xxh128 = <gs_xxh128_fn>_symbol(_xxhash, b"XXH3_128bits_dispatch")  # picks AVX2/AVX-512 at run time
if xxh128 == NULL:
    xxh128 = <gs_xxh128_fn>_symbol(_xxhash, b"XXH3_128bits")
