// SPDX-License-Identifier: GPL-2.0
/*
 * aviommu_v3: a stand-in for what AMD's v3 HW-vIOMMU series adds to the amd_iommu driver.
 *
 * The upstream driver answers VIOMMU_ALLOC for any type and gives nothing with it. This module
 * replaces two of the driver's operations, so that user space meets the v3 interface: type 3 and
 * no other, a user data structure with the mmap offset of a VF MMIO page, Guest IDs and
 * TransDevIDs that run out. Behind it there is a page of RAM and some counters, no hardware:
 * nothing is accelerated. The driver's own operations go on doing what they did: its structure
 * is the head of ours, and its init and destroy run.
 *
 * For test machines only: it writes to read-only kernel data.
 */
#include <linux/debugfs.h>
#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/kprobes.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>
#include <uapi/linux/iommufd.h>

/* Not in the upstream header: these are what the v3 series adds to it. */
#define VIOMMU_TYPE_AMD 3

struct viommu_amd_8 {
	__aligned_u64 out_vfmmio_mmap_offset;
};

struct viommu_amd_16 {
	__aligned_u64 out_vfmmio_mmap_offset;
	__u32 reserved;
	__u32 reserved2;
};

static unsigned int max_guest_ids = 16;
module_param(max_guest_ids, uint, 0644);
MODULE_PARM_DESC(max_guest_ids, "Guest IDs per IOMMU, at most 65535");

static unsigned int max_trans_devids = 65536;
module_param(max_trans_devids, uint, 0644);
MODULE_PARM_DESC(max_trans_devids, "TransDevIDs in all, at most 65536");

static unsigned int user_data_size = 8;
module_param(user_data_size, uint, 0644);
MODULE_PARM_DESC(user_data_size, "size of the VIOMMU_ALLOC user data: 8, or 16 as in other trees");

static bool nested = true;
module_param(nested, bool, 0644);
MODULE_PARM_DESC(nested, "offer nested HWPTs, by the driver's own unreferenced implementation");

typedef struct iommu_domain *(*alloc_nested_fn)(struct iommufd_viommu *viommu, u32 flags,
						const struct iommu_user_data *user_data);

/* One per IOMMU that has served a vIOMMU; they stay until the module goes. */
struct v3_iommu {
	struct list_head link;
	struct iommu_device *iommu_dev;
	struct ida guest_ids;
};

/* Lies behind the driver's own structure, at driver_size. */
struct v3_viommu {
	struct list_head link;
	struct iommufd_viommu *core;
	struct v3_iommu *iommu;
	const struct iommufd_viommu_ops *driver_ops;
	int guest_id;
	int trans_devid_index;
	unsigned int n_vdevices;
	unsigned long page;
	unsigned long mmap_offset;
};

struct v3_vdevice {
	struct iommufd_vdevice core;
};

static const struct iommu_ops *amd_ops;
static typeof(((struct iommu_ops *)0)->get_viommu_size) driver_get_viommu_size;
static typeof(((struct iommu_ops *)0)->viommu_init) driver_viommu_init;
static size_t driver_size;
static alloc_nested_fn driver_alloc_nested;

static DEFINE_MUTEX(v3_lock); /* everything below, and n_vdevices */
static LIST_HEAD(v3_iommus);
static LIST_HEAD(v3_viommus);
static DEFINE_IDA(trans_devids);
static u32 n_viommus, n_vdevices; /* alive */
static u32 n_viommus_total, n_vdevices_total, n_nested_total, n_refused_total;

static struct dentry *v3_debugfs;

static struct v3_viommu *to_v3(struct iommufd_viommu *viommu)
{
	return (void *)viommu + driver_size;
}

static struct v3_iommu *v3_iommu_get(struct iommu_device *iommu_dev)
{
	struct v3_iommu *i;

	list_for_each_entry(i, &v3_iommus, link)
		if (i->iommu_dev == iommu_dev)
			return i;

	i = kzalloc(sizeof(*i), GFP_KERNEL);
	if (!i)
		return NULL;
	i->iommu_dev = iommu_dev;
	ida_init(&i->guest_ids);
	list_add_tail(&i->link, &v3_iommus);
	return i;
}

static void v3_vdevice_destroy(struct iommufd_vdevice *vdev)
{
	mutex_lock(&v3_lock);
	to_v3(vdev->viommu)->n_vdevices--;
	n_vdevices--;
	mutex_unlock(&v3_lock);
}

static int v3_vdevice_init(struct iommufd_vdevice *vdev)
{
	mutex_lock(&v3_lock);
	to_v3(vdev->viommu)->n_vdevices++;
	n_vdevices++;
	n_vdevices_total++;
	mutex_unlock(&v3_lock);

	vdev->destroy = v3_vdevice_destroy;
	return 0;
}

static struct iommu_domain *v3_alloc_domain_nested(struct iommufd_viommu *viommu, u32 flags,
						   const struct iommu_user_data *user_data)
{
	struct iommu_domain *domain;

	if (!nested || !driver_alloc_nested)
		return ERR_PTR(-EOPNOTSUPP);

	domain = driver_alloc_nested(viommu, flags, user_data);
	if (!IS_ERR(domain)) {
		mutex_lock(&v3_lock);
		n_nested_total++;
		mutex_unlock(&v3_lock);
	}
	return domain;
}

static void v3_release(struct v3_viommu *v)
{
	if (v->mmap_offset)
		iommufd_viommu_destroy_mmap(v->core, v->mmap_offset);
	if (v->page)
		free_page(v->page);
	if (v->trans_devid_index >= 0)
		ida_free(&trans_devids, v->trans_devid_index);
	if (v->guest_id > 0)
		ida_free(&v->iommu->guest_ids, v->guest_id);
}

static void v3_viommu_destroy(struct iommufd_viommu *viommu)
{
	struct v3_viommu *v = to_v3(viommu);
	const struct iommufd_viommu_ops *driver_ops = v->driver_ops;

	mutex_lock(&v3_lock);
	WARN_ON(v->n_vdevices);
	list_del(&v->link);
	n_viommus--;
	v3_release(v);
	mutex_unlock(&v3_lock);

	if (driver_ops->destroy)
		driver_ops->destroy(viommu);
	module_put(THIS_MODULE);
}

static const struct iommufd_viommu_ops v3_viommu_ops = {
	.destroy = v3_viommu_destroy,
	.alloc_domain_nested = v3_alloc_domain_nested,
	.vdevice_size = VDEVICE_STRUCT_SIZE(struct v3_vdevice, core),
	.vdevice_init = v3_vdevice_init,
};

static size_t v3_get_viommu_size(struct device *dev, enum iommu_viommu_type type)
{
	if (type != VIOMMU_TYPE_AMD)
		return 0;
	return driver_size + sizeof(struct v3_viommu);
}

static int v3_take_ids(struct v3_viommu *v)
{
	v->iommu = v3_iommu_get(v->core->iommu_dev);
	if (!v->iommu)
		return -ENOMEM;

	if (!max_guest_ids || !max_trans_devids)
		return -ENOSPC;
	v->guest_id = ida_alloc_range(&v->iommu->guest_ids, 1, min(max_guest_ids, 0xffffU),
				      GFP_KERNEL);
	if (v->guest_id < 0)
		return v->guest_id;
	v->trans_devid_index = ida_alloc_max(&trans_devids, min(max_trans_devids, 0x10000U) - 1,
					     GFP_KERNEL);
	if (v->trans_devid_index < 0)
		return v->trans_devid_index;

	v->page = get_zeroed_page(GFP_KERNEL);
	if (!v->page)
		return -ENOMEM;
	return iommufd_viommu_alloc_mmap(v->core, virt_to_phys((void *)v->page), PAGE_SIZE,
					 &v->mmap_offset);
}

static int v3_reply(struct v3_viommu *v, const struct iommu_user_data *user_data, bool large)
{
	struct viommu_amd_8 d8 = { .out_vfmmio_mmap_offset = v->mmap_offset };
	struct viommu_amd_16 d16 = { .out_vfmmio_mmap_offset = v->mmap_offset };

	if (large)
		return iommu_copy_struct_to_user(user_data, &d16, VIOMMU_TYPE_AMD, reserved);
	return iommu_copy_struct_to_user(user_data, &d8, VIOMMU_TYPE_AMD,
					 out_vfmmio_mmap_offset);
}

/*
 * The size rules are the kernel's usual ones: at least up to the last member of the first version,
 * never more than the kernel's own structure, even if the rest is zero.
 */
static int v3_check_user_data(const struct iommu_user_data *user_data, bool large)
{
	struct viommu_amd_8 d8;
	struct viommu_amd_16 d16;

	if (!user_data)
		return -EINVAL;
	if (large)
		return iommu_copy_struct_from_user(&d16, user_data, VIOMMU_TYPE_AMD, reserved);
	return iommu_copy_struct_from_user(&d8, user_data, VIOMMU_TYPE_AMD,
					   out_vfmmio_mmap_offset);
}

static int v3_viommu_init(struct iommufd_viommu *viommu, struct iommu_domain *parent,
			  const struct iommu_user_data *user_data)
{
	struct v3_viommu *v = to_v3(viommu);
	bool large = user_data_size > sizeof(struct viommu_amd_8);
	int rc;

	rc = v3_check_user_data(user_data, large);
	if (rc)
		return rc;

	/*
	 * After this the driver's operations are set, so that on an error below the core calls the
	 * driver's destroy and ours is not needed.
	 */
	rc = driver_viommu_init(viommu, parent, user_data);
	if (rc)
		return rc;

	v->core = viommu;
	v->driver_ops = viommu->ops;
	v->guest_id = -1;
	v->trans_devid_index = -1;

	mutex_lock(&v3_lock);
	rc = v3_take_ids(v);
	if (rc) {
		v3_release(v);
		n_refused_total++;
	} else {
		list_add_tail(&v->link, &v3_viommus);
		n_viommus++;
		n_viommus_total++;
	}
	mutex_unlock(&v3_lock);
	if (rc)
		return rc;

	/* From here on an error makes the core call our destroy, which undoes everything. */
	__module_get(THIS_MODULE);
	viommu->ops = &v3_viommu_ops;
	return v3_reply(v, user_data, large);
}

static int instances_show(struct seq_file *m, void *unused)
{
	struct v3_viommu *v;

	mutex_lock(&v3_lock);
	list_for_each_entry(v, &v3_viommus, link)
		seq_printf(m, "%s guest_id=%d trans_devid=0x%04x vdevices=%u\n",
			   dev_name(v->iommu->iommu_dev->dev), v->guest_id,
			   0xffff - v->trans_devid_index, v->n_vdevices);
	mutex_unlock(&v3_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(instances);

/*
 * The operations table is const. A second, writable mapping of its page lets one pointer be
 * exchanged and leaves the kernel's own mappings as strict as they are.
 */
static int ops_poke(const void *field, const void *value)
{
	struct page *page = virt_to_page((void *)field);
	void *alias = vmap(&page, 1, VM_MAP, PAGE_KERNEL);

	if (!alias)
		return -ENOMEM;
	WRITE_ONCE(*(const void **)(alias + offset_in_page(field)), value);
	vunmap(alias);
	return 0;
}

static const struct iommu_ops *find_amd_ops(void)
{
	const struct iommu_ops *ops = NULL;
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		struct dev_iommu *iommu = pdev->dev.iommu;
		struct iommu_device *iommu_dev = iommu ? iommu->iommu_dev : NULL;

		if (!iommu_dev || !iommu_dev->dev || strncmp(dev_name(iommu_dev->dev), "ivhd", 4))
			continue;
		driver_size = iommu_dev->ops->get_viommu_size ?
			iommu_dev->ops->get_viommu_size(&pdev->dev, VIOMMU_TYPE_AMD) : 0;
		ops = iommu_dev->ops;
		pci_dev_put(pdev);
		break;
	}
	return ops;
}

/* Not exported: a probe that is placed and taken away again tells the address. */
static void *find_symbol(const char *name)
{
	struct kprobe kp = { .symbol_name = name };
	void *address;

	if (register_kprobe(&kp))
		return NULL;
	address = kp.addr;
	unregister_kprobe(&kp);
	return address;
}

static int __init v3_init(void)
{
	int rc;

	amd_ops = find_amd_ops();
	if (!amd_ops || !driver_size || !amd_ops->viommu_init)
		return -ENODEV;
	driver_size = ALIGN(driver_size, __alignof__(struct v3_viommu));
	driver_get_viommu_size = amd_ops->get_viommu_size;
	driver_viommu_init = amd_ops->viommu_init;
	driver_alloc_nested = find_symbol("amd_iommu_alloc_domain_nested");

	/*
	 * Size first: a vIOMMU made between the two has room to spare, the other way round it would
	 * be too small.
	 */
	rc = ops_poke(&amd_ops->get_viommu_size, v3_get_viommu_size);
	if (rc)
		return rc;
	rc = ops_poke(&amd_ops->viommu_init, v3_viommu_init);
	if (rc) {
		ops_poke(&amd_ops->get_viommu_size, driver_get_viommu_size);
		return rc;
	}

	v3_debugfs = debugfs_create_dir("aviommu_v3", NULL);
	debugfs_create_u32("viommus", 0444, v3_debugfs, &n_viommus);
	debugfs_create_u32("vdevices", 0444, v3_debugfs, &n_vdevices);
	debugfs_create_u32("viommus_total", 0444, v3_debugfs, &n_viommus_total);
	debugfs_create_u32("vdevices_total", 0444, v3_debugfs, &n_vdevices_total);
	debugfs_create_u32("nested_total", 0444, v3_debugfs, &n_nested_total);
	debugfs_create_u32("refused_total", 0444, v3_debugfs, &n_refused_total);
	debugfs_create_file("instances", 0444, v3_debugfs, NULL, &instances_fops);
	return 0;
}

/* Reached only with no vIOMMU alive: each holds a reference on the module. */
static void __exit v3_exit(void)
{
	struct v3_iommu *i, *next;

	ops_poke(&amd_ops->viommu_init, driver_viommu_init);
	ops_poke(&amd_ops->get_viommu_size, driver_get_viommu_size);
	debugfs_remove_recursive(v3_debugfs);
	list_for_each_entry_safe(i, next, &v3_iommus, link) {
		ida_destroy(&i->guest_ids);
		kfree(i);
	}
	ida_destroy(&trans_devids);
}

module_init(v3_init);
module_exit(v3_exit);
MODULE_DESCRIPTION("Stand-in for the AMD HW-vIOMMU v3 user interface");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("IOMMUFD");
