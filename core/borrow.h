/* SPDX-License-Identifier: MIT */
/*
 * borrow.h - a value read where it lies: ipcmap_pin()
 */
#ifndef IM_BORROW_H
#define IM_BORROW_H

#include "map.h"

int im_borrow(struct ipcmap *m, const void *key, size_t key_len, struct ipcmap_pin *ret);
void im_borrow_end(struct ipcmap *m, struct ipcmap_pin *p);

#endif
