/* Preloaded under sanitizers: libraries stay loaded, so that the leak report at the end of a
 * process can name the driver that a block belongs to, and lsan.supp can tell drivers from vkmoe.
 */
int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
